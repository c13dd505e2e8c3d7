"""Who may do what: keys, logins, permissions, and the door in front of every route."""
