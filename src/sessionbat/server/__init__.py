"""The self-hosted SessionBat server: stores events durably and shows sessions on pages."""
