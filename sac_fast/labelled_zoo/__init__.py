"""A labelled set of models: how each was made, and the engine that trains and keeps it."""
