"""Relatives among many models: neighbours, groups, forest and graph files."""
