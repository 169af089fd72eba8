"""The account that everything simulated belongs to."""

ACCOUNT = "123456789012"
CALLER = f"arn:aws:sts::{ACCOUNT}:assumed-role/autoctl/session"
