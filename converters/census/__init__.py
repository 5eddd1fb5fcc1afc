"""What an engine really runs of a file: operators, their types, and what became int8."""
