"""Predictions -> scores with intervals."""
