"""How good a backtest's own predictions were: as the learner scored them, and beside yardsticks that knew no more."""
