"""Operations on the tokens of a grid: convolutions, windows of attention, and what makes a grid
coarser. All of them read the grid from the nodes (`graph.grid`)."""
