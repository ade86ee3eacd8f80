"""Acting: what a model of trajectories does in an environment.

environment.py   Environment: rows of episodes side by side
named.py         environments by their names
cartpole.py      CartPole, in NumPy
gym.py           the environments of Gymnasium (extra `gymnasium`)
codes.py         numbers of an episode as ids of one vocabulary
policy.py        Policy: the next action, with a cache of the steps before
rollout.py       rollout: whole episodes, and their returns
"""
