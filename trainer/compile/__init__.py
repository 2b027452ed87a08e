"""Model -> artifact -> proof that the artifact behaves as the model did."""
