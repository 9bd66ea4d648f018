# /etc/csh.login
