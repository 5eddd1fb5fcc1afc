"""What comes from outside: type and size are known before the content is read, and damage is one kind of error.

Whoever reads a file that a user or a stranger made may enter; it imports nothing but the errors.
"""
