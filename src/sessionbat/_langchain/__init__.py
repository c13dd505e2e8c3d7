"""What ``langchain`` is made of: reading LangChain's objects, and the book of runs under way."""
