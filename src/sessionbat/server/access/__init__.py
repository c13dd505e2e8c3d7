"""Access control: keys, logins, permissions, and the middleware that guards every route."""
