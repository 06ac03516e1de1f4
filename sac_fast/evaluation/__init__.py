"""Evaluation on labelled zoos: figures of merit of scores and peers, tables and figures."""
