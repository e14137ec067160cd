"""Scores of a backtest judged by what customers did next: figures by cutoff, leak-free baselines, gates."""
