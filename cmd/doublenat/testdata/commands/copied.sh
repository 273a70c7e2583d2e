# Runs a lab with the arguments, and the check that it suggests, as it is printed.
doublenat lab --gateway-kind "$@" --router $LAB_ROUTER:8728 --listen $LAB_LISTEN:5351 --client $LAB_CLIENT:8080 --public $LAB_PUBLIC --tunnel $LAB_TUNNEL --page off >lab.out 2>&1 &
lab=$!
for i in $(seq 400); do
	grep -q 'doublenat check$' lab.out && break
	sleep 0.1
done
eval "$(sed -n 's/.*\(VPN_GATEWAY=.* doublenat check\)$/\1/p' lab.out) --live"
code=$?
kill -INT $lab
wait $lab
exit $code
