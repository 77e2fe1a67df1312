module github.com/waypost/waypost

go 1.26.0
