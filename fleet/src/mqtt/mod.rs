//! MQTT transports: the endpoint of our own, or an external broker.
