"""What other servers' own configuration means here: one folder per server, above ``app`` and below the command line."""
