"""The learner: a double dueling DQN with prioritized replay that starts from historical experience.

Training needs torch and numba (``pip install 'hasten[learn]'``); what comes out, a policy file, needs neither.
"""
