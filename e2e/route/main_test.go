package route

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/waypost/waypost/e2e/lab"
)

// TestMain runs the tests in a world of their own, which has the programs that some of them start. Most of the time, tests
// wait, so that more of them run at once than there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(lab.Run(m.Run, "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "waypost", "waypost-proxy", "dig", "nft", "iptables-nft"))
}
