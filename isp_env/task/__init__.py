"""The reinforcement-learning task: observations, actions, reward, episodes."""
