"""NodeClasses: what their selectors select, and what nodes of theirs are launched with."""
