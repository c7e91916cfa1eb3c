#!/bin/sh
# provider.sh FOLDER: a key provider that protects nothing, to see what the
# tools do around one: what it wraps it gives back. It refuses a layer whose
# digest is a line of FOLDER/refused, and keeps each request in FOLDER/asked.
request=$(cat)
printf '%s\n' "$request" >>"$1/asked"
field() { printf '%s' "$request" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
case $request in
*'"op":"keywrap"'*)
    printf '{"keywrapresults":{"annotation":"%s"}}' "$(field optsdata)"
    exit
    ;;
esac
annotation=$(field annotation)
if printf '%s' "$annotation" | base64 -d | grep -qFf "$1/refused"; then
    echo 'host worker-3 is contraindicated: kernel command line gained "ima=off"' >&2
    exit 1
fi
printf '{"keyunwrapresults":{"optsdata":"%s"}}' "$annotation"
