"""The rules: accounts, contacts, groups, chat, files, sessions; who is told what. Nothing here knows HTTP."""
