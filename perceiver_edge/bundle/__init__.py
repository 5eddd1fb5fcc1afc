"""What is published: a folder that proves itself, its manifest, and its pages for people.

Knows the values it writes down (a proof's verdict, what lowering decided); converts nothing. A bundle
loads its own models on request.
"""
