import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Counts and sums events by customer, exactly once, and writes a record on every fourth event. */
public final class CountAndSum {
    private static final String STORE = "totals";
    private static final byte[] AMOUNT = "\"amount\":".getBytes(StandardCharsets.UTF_8);

    private CountAndSum() {}

    /** Arguments: bootstrap servers, application id, topic of events, topic of outputs. */
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(
                Stores.keyValueStoreBuilder(
                                Stores.persistentKeyValueStore(STORE), Serdes.ByteArray(), Serdes.ByteArray())
                        .withLoggingEnabled(java.util.Map.of()));
        builder.<byte[], byte[]>stream(arguments[2]).process(Totals::new, STORE).to(arguments[3]);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(5));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }

    private static final class Totals implements Processor<byte[], byte[], byte[], byte[]> {
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], byte[]> store;
        private long seen;

        @Override
        public void init(ProcessorContext<byte[], byte[]> given) {
            context = given;
            store = given.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            byte[] known = store.get(record.key());
            java.nio.ByteBuffer totals = java.nio.ByteBuffer.allocate(16);
            long count = 1;
            double sum = amountOf(record.value());
            if (known != null) {
                java.nio.ByteBuffer before = java.nio.ByteBuffer.wrap(known);
                count += before.getLong();
                sum += before.getDouble();
            }
            totals.putLong(count).putDouble(sum);
            store.put(record.key(), totals.array());
            if (++seen % 4 == 0) {
                String told = "{\"count\":" + count + ",\"sum\":" + sum + "}";
                context.forward(record.withValue(told.getBytes(StandardCharsets.UTF_8)));
            }
        }

        private static double amountOf(byte[] json) {
            outer:
            for (int start = 0; start <= json.length - AMOUNT.length; start++) {
                for (int place = 0; place < AMOUNT.length; place++) {
                    if (json[start + place] != AMOUNT[place]) {
                        continue outer;
                    }
                }
                int end = start + AMOUNT.length;
                int stop = end;
                while (stop < json.length && json[stop] != ',' && json[stop] != '}') {
                    stop++;
                }
                return Double.parseDouble(new String(json, end, stop - end, StandardCharsets.UTF_8));
            }
            return 0.0;
        }
    }
}
