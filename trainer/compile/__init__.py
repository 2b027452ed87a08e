"""Model -> candidates -> what each does in every runtime -> the one that is shown to behave as the model did."""
