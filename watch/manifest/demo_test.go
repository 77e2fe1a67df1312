package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/testdata/demo"
)

// TestDemo wants the demo cluster as its comments describe it, without a warning.
func TestDemo(t *testing.T) {
	s, err := FromFS(demo.Files, cluster.Needs{}, newLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sink, log := run(t, s)
	sink.next(
		"+ namespace default", "+ namespace empty", "+ namespace kube-system", "+ namespace prod",
		"+ service default/kubernetes ClusterIP 10.96.0.1 https/443/tcp",
		"+ service default/myapp Headless http/80/tcp",
		"+ service default/web ClusterIP 10.96.20.1 http/80/tcp https/443/tcp",
		"+ service kube-system/kube-dns ClusterIP 10.96.0.10 dns/53/udp dns-tcp/53/tcp metrics/9153/tcp",
		"+ service prod/cache Headless redis/6379/tcp",
		"+ service prod/db Headless postgres/5432/tcp",
		"+ service prod/frontend ExternalName web.default.svc.cluster.local",
		"+ service prod/ldap Headless ldap/389/tcp ldaps/636/tcp",
		"+ service prod/payments ExternalName www.example.com",
		"+ service prod/shop ClusterIP 10.96.20.2 fd00:10:96::20 http/80/tcp",
		"+ service prod/starting Headless http/80/tcp",
		"+ endpointslice default/kubernetes of kubernetes https/6443/tcp 192.0.2.10()rs",
		"+ endpointslice default/myapp-ipv4-1 of myapp http/8080/tcp 10.244.1.30(web-0)rs 10.244.2.30(web-1)rs 10.244.1.31(web-2)",
		"+ endpointslice default/myapp-ipv6-1 of myapp http/8080/tcp fd00:10:244:1::30(web-0)rs fd00:10:244:2::30(web-1)rs fd00:10:244:1::31(web-2)",
		"+ endpointslice default/web-ipv4-1 of web http/8080/tcp https/8443/tcp 10.244.1.10()rs 10.244.2.10()rs",
		"+ endpointslice kube-system/kube-dns-4x7zq of kube-dns dns/53/udp dns-tcp/53/tcp metrics/9153/tcp 10.244.0.2()rs 10.244.0.3()rs",
		"+ endpointslice prod/cache-ipv4-1 of cache redis/6379/tcp 10.244.1.50()r 10.244.2.50()rs",
		"+ endpointslice prod/db-r2jxw of db postgres/5432/tcp 10.244.1.40()rs 10.244.2.40()rs 10.244.2.41()",
		"+ endpointslice prod/ldap-by-hand of ldap ldap/389/tcp ldaps/636/tcp 192.0.2.31(primary)rs 192.0.2.32()rs",
		"+ endpointslice prod/shop-h8tqc of shop http/8080/tcp 10.244.1.20()rs 10.244.2.20()rs",
		"+ endpointslice prod/shop-kl2mv of shop http/8080/tcp 10.244.1.21()rs",
		"+ endpointslice prod/shop-w6d2n of shop http/8080/tcp fd00:10:244:1::20()rs fd00:10:244:2::20()rs",
		"+ endpointslice prod/starting-ipv4-1 of starting http/80/tcp 10.244.1.60()",
	)
	for _, kind := range []string{"namespaces", "services", "endpointslices"} {
		sink.next("synced " + kind)
	}
	if lines := log.all(); cmp.Diff([]string(nil), lines) != "" {
		t.Errorf("logged %q", lines)
	}
}
