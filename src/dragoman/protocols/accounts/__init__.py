"""Users, keys, logins and the audit over REST."""
