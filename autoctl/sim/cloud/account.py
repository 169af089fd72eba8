"""The account that everything simulated belongs to."""

ACCOUNT = "123456789012"
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/autoctl"
"""The role of who calls."""
CALLER = f"arn:aws:sts::{ACCOUNT}:assumed-role/autoctl/session"
