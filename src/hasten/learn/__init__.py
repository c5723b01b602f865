"""The learner: afterstate values from paired rollouts with common random numbers; or, as in the paper, a DQN.

By default (``values="backlogs"``) one network values the backlogs that an option leaves behind, the afterstate, the
same for all options. It is learned from differences: for each decision, what the option taken and another one would
lead to under the same arrivals and the same link, told by the timing law at first (``learn.pairs``) and simulated later
(``learn.paired_rollouts``); the step is ``learn.paired``. The paper's method (``values="actions"``) is a double dueling
DQN with prioritized replay (``learn.dqn``) that values each action. Both start from historical experience
(``learn.demonstrations``).

Training needs numba and no torch (``pip install 'hasten[learn]'``), so that it runs on a device, too
(``learn.deploy``); what comes out, a policy file, needs numpy only.
"""
