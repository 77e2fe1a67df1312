// Package selector reads label selectors as a Corefile has them.
package selector

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Parse checks a label selector, as in "app in (web, db), !legacy", and returns it in the form that the API takes as a
// labelSelector. The operator "!=" is an error: CoreDNS knows only those that a LabelSelector object can have.
func Parse(text string) (string, error) {
	object, err := metav1.ParseToLabelSelector(text)
	if err != nil {
		return "", err
	}
	selector, err := metav1.LabelSelectorAsSelector(object)
	if err != nil {
		return "", err
	}
	return selector.String(), nil
}
