"""From pending pods to NodeClaims."""
