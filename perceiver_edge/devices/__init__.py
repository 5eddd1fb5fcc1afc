"""The runtimes that a model is meant for, and what each answers beside the float reference and beside this CPU."""
