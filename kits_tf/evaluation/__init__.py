"""How good labels are: scores against ground truth, a report over cases, and a picture to judge by eye."""
