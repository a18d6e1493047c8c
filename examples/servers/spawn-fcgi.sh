#!/bin/sh
# spawn-fcgi.sh -- spawn-fcgi binds the socket, drops root's rights and starts
# fcgi-lua on it.  Any web server that connects to a running gateway can use it:
# nginx.conf, apache-mod_proxy_fcgi.conf, lighttpd-remote.conf, Caddyfile.
#
# Run:  ./spawn-fcgi.sh; stop with: kill "$(cat /run/app.pid)"
exec spawn-fcgi -s /run/app.sock -M 0660 -u www-data -g www-data \
    -P /run/app.pid -- /usr/local/bin/fcgi-lua /srv/app.lua
