"""The support bot that ``sessionbat demo`` runs: a plant shop's assistant, written on the SDK.

Data: ``scenarios`` (who asks what, and what the model decides), ``help_articles``, ``shop_data``.
Running code: ``bot`` with its ``model``, ``retriever`` and ``shop``; ``run`` serves and shows it.
"""
