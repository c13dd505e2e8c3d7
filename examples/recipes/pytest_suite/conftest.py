pytest_plugins = ["sessionbat.testing"]
