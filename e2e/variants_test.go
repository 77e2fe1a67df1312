package e2e

// variant is one way to set the kubernetes directive up.
type variant struct {
	name     string
	corefile string
	zones    []string // forward zones that are asked about
	reverse  []string // reverse zones that are served; nil is in-addr.arpa and ip6.arpa
	exposed  []string // the namespaces that are served; nil is all
	probe    string   // a name that exists; "" is the API server's Service
}

// variants cover each option that changes answers. The file is the same for both servers.
var variants = []variant{
	{
		name:  "kubeadm",
		zones: []string{"cluster.local."},
		corefile: `
. {
    errors
    health {$HEALTH} {
       lameduck 5s
    }
    ready {$READY}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       kubeconfig {$KUBECONFIG}
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus {$METRICS}
    loadbalance
}
`},
	{
		name:  "plain",
		zones: []string{"cluster.local."},
		corefile: `
cluster.local in-addr.arpa ip6.arpa {
    kubernetes {
        kubeconfig {$KUBECONFIG}
    }
}
`},
	{
		name:  "pods verified, Pod names",
		zones: []string{"cluster.local."},
		corefile: `
. {
    errors
    log . {
        class denial error
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods verified
        endpoint_pod_names
        fallthrough
    }
}
`},
	{
		name:  "no endpoints, ttl 0",
		zones: []string{"cluster.local."},
		corefile: `
. {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        noendpoints
        pods insecure
        ttl 0
    }
}
`},
	{
		name:    "namespaces, ttl 3600",
		zones:   []string{"cluster.local."},
		exposed: []string{"prod", "svc", "nosuch", "default"},
		corefile: `
. {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        namespaces prod svc nosuch default
        pods insecure
        ttl 3600
    }
}
`},
	{
		name:  "namespace_labels, ignore empty_service",
		zones: []string{"cluster.local."},
		probe: "web.prod.svc.cluster.local.",
		corefile: `
. {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        namespace_labels team in (blue, red)
        pods verified
        ignore empty_service
        fallthrough ip6.arpa
    }
}
`},
	{
		name:  "labels, bind",
		zones: []string{"cluster.local."},
		probe: "web.prod.svc.cluster.local.",
		corefile: `
. {
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        labels tier in (front, back)
        pods verified
    }
}
`},
	{
		name:  "multicluster",
		zones: []string{"cluster.local.", "clusterset.local."},
		corefile: `
. {
    kubernetes cluster.local clusterset.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        multicluster clusterset.local
        pods insecure
    }
}
`},
	{
		name:  "zonal",
		zones: []string{"cluster.local."},
		corefile: `
. {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        zonal
        ttl 60
    }
}
`},
	{
		name:    "several zones, CIDR zones",
		zones:   []string{"cluster.local.", "example.org.", longZone},
		reverse: []string{"96.10.in-addr.arpa.", "97.10.in-addr.arpa.", "244.10.in-addr.arpa.", "0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa."},
		corefile: `
. {
    kubernetes example.org cluster.local ` + longZone + ` 10.96.0.0/15 10.244.0.0/16 fd00:10:96::/64 {
        kubeconfig {$KUBECONFIG}
        pods insecure
    }
}
`},
	{
		name:  "two server blocks",
		zones: []string{"cluster.local.", "example.org."},
		corefile: `
(common) {
    errors
    kubernetes {
        kubeconfig {$KUBECONFIG}
        fallthrough in-addr.arpa
        pods insecure
        ttl 10
    }
}
cluster.local in-addr.arpa {
    import common
}
example.org ip6.arpa {
    import common
    loadbalance
}
`},
}

// longZone is so long that the longest endpoint's name has 255 bytes in it.
const longZone = "z2345678901234567890123456789.z12345678901."
