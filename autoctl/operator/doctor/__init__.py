"""`autoctl doctor`: cluster and account as the operator would use them; changes nothing."""
