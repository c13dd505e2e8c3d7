"""What recording costs, beside other SDKs and beside what the machine allows: `python -m bench`."""
