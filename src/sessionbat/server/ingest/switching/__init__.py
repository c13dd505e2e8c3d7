"""The protocols of LangSmith and Langfuse, so that their SDKs need nothing but another address."""
