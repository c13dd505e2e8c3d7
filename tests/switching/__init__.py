"""The SDKs of LangSmith and Langfuse as they are, pointed at this server by environment alone."""
