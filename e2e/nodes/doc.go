// Package nodes proves on real nodes that Waypost takes CoreDNS's place, and gives it back, without a query lost: a
// cluster of real programs (etcd, Kubernetes, containerd, kubelet, the CNI plugins) in namespaces that end with the test,
// whose Services only waypost-proxy routes.
package nodes
