"""The table contract, and the only code that reads or writes a table."""
