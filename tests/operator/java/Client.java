// A Java client's day: topics and configs, transactions with every codec, a group, offsets by time, and the end of it all.

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

public class Client {
    static final int RECORDS = 100;
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    /** What every client says, as key=value: what the broker asks of who connects. */
    static final Properties COMMON = new Properties();

    static Properties with(String server, Map<String, String> more) {
        Properties properties = new Properties();
        properties.putAll(COMMON);
        properties.put("bootstrap.servers", server);
        properties.putAll(more);
        return properties;
    }

    static void produce(String server, String codec) {
        String serializer = "org.apache.kafka.common.serialization.StringSerializer";
        Properties properties = with(server, Map.of("key.serializer", serializer, "value.serializer", serializer,
            "transactional.id", "java-" + codec, "compression.type", codec));
        try (Producer<String, String> producer = new KafkaProducer<>(properties)) {
            producer.initTransactions();
            producer.beginTransaction();
            for (int n = 0; n < RECORDS; n++) {
                producer.send(new ProducerRecord<>("java", "k" + n, codec + " " + n));
            }
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("java", "k", "aborted"));
            producer.flush();
            producer.abortTransaction();
        }
    }

    static void consume(String server) {
        String deserializer = "org.apache.kafka.common.serialization.StringDeserializer";
        Properties properties = with(server, Map.of("key.deserializer", deserializer, "value.deserializer", deserializer,
            "group.id", "java", "auto.offset.reset", "earliest", "isolation.level", "read_committed",
            "enable.auto.commit", "false"));
        TreeSet<String> values = new TreeSet<>();
        try (Consumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            consumer.subscribe(List.of("java"));
            for (int turn = 0; turn < 100 && values.size() < RECORDS * CODECS.size(); turn++) {
                consumer.poll(Duration.ofSeconds(1)).forEach(record -> values.add(record.value()));
            }
            consumer.commitSync();
            long first = consumer.offsetsForTimes(Map.of(new TopicPartition("java", 0), 0L))
                .values().iterator().next().offset();
            System.out.println("read " + values.size() + ", aborted " + values.contains("aborted")
                + ", first by time " + first);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String server = arguments[0];
        for (int n = 1; n < arguments.length; n++) {
            String[] pair = arguments[n].split("=", 2);
            COMMON.put(pair[0], pair[1]);
        }
        try (Admin admin = Admin.create(with(server, Map.of()))) {
            admin.createTopics(List.of(new NewTopic("java", 3, (short) 1))).all().get();
            ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "java");
            AlterConfigOp retain = new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(topic, List.of(retain))).all().get();
            System.out.println("partitions " + admin.describeTopics(List.of("java")).allTopicNames().get().get("java").partitions().size()
                + ", retention.ms " + admin.describeConfigs(List.of(topic)).all().get().get(topic).get("retention.ms").value()
                + ", nodes " + admin.describeCluster().nodes().get().size());
            for (String codec : CODECS) {
                produce(server, codec);
            }
            consume(server);
            long committed = admin.listConsumerGroupOffsets("java").partitionsToOffsetAndMetadata().get().size();
            System.out.println("committed " + committed + ", group "
                + admin.describeConsumerGroups(List.of("java")).all().get().get("java").groupState());
            admin.deleteConsumerGroups(List.of("java")).all().get();
            admin.deleteTopics(List.of("java")).all().get();
        }
    }
}
