"""A SessionBat of one's own: stores events durably and shows sessions on pages."""
