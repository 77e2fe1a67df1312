// Package deploy tries out what the folder deploy/ holds on a real cluster: a control plane, a node with containerd and
// kubelet, and the images that `make image` makes. It is a module of its own because Helm's dependencies are many.
package deploy
