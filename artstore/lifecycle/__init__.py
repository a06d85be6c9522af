"""What happens to them: one verb a module.

A verb works on storage and model alone, knows no terminal, environment or home directory, and says what it did with a
value from `reports`.
"""
