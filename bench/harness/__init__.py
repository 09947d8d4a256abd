"""Measures of the whole engine, made with the `ilre` program as its users run it."""
