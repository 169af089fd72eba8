"""What EC2 sells and what nodes turn out to have: the catalog kept right at run time."""
