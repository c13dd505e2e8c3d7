"""Events on their way in: from a request's body to the answer after they are stored."""
